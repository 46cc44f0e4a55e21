// Command proxy is the gateway of models, streaming, as a Lambda function.
package main

import (
	"sluice/functions/internal/root"
	"sluice/shared/boot"
	"sluice/shared/lambdahttp"
)

// version is set by the linker.
var version = ""

func main() {
	f := root.New(boot.Proxy(), version, func(o *boot.FunctionOptions) { o.Trace = boot.Tracing })
	lambdahttp.Start(root.Placed(f), lambdahttp.Options{Log: f.Log(), Error: boot.WriteError})
}
