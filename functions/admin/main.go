// Command admin is the admin API and the web console, answered in one piece, as a Lambda function.
package main

import (
	"sluice/functions/internal/root"
	"sluice/shared/adminui"
	"sluice/shared/boot"
	"sluice/shared/lambdahttp"
)

// version is set by the linker.
var version = ""

func main() {
	f := root.New(boot.Admin(), version, func(o *boot.FunctionOptions) { o.Console = console })
	lambdahttp.Start(root.Placed(f), lambdahttp.Options{Log: f.Log(), Error: boot.WriteError, Buffered: true})
}

// console makes the web console.
func console(o boot.ConsoleOptions) boot.Console {
	return adminui.New(adminui.Options{API: o.API, PublicURL: o.PublicURL, Version: o.Version, Streams: o.Streams, Ending: o.Ending, Log: o.Log, Now: o.Now})
}
