package main

import (
	"sluice/shared/adminui"
	"sluice/shared/boot"
)

// console makes the web console.
func console(o boot.ConsoleOptions) boot.Console {
	return adminui.New(adminui.Options{API: o.API, PublicURL: o.PublicURL, Version: o.Version, Streams: o.Streams, Ending: o.Ending, Log: o.Log, Now: o.Now})
}
