module sluice/tests/sketch

go 1.26.0

require (
	github.com/DataDog/sketches-go v1.4.8
	sluice v0.0.0
)

require google.golang.org/protobuf v1.36.12 // indirect

replace sluice => ../..
