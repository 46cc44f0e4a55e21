module sluice/tests/prices

go 1.26.0

replace sluice => ../..

require sluice v0.0.0-00010101000000-000000000000
