module sluice/tests/tokencount

go 1.26.0

replace sluice => ../..

require (
	github.com/tiktoken-go/tokenizer v0.10.0
	sluice v0.0.0-00010101000000-000000000000
)

require github.com/dlclark/regexp2/v2 v2.5.1 // indirect
