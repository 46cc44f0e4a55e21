// The function of the Lambda tests: the scenario handler behind lambdahttp, as the real functions start.
package main

import (
	"fmt"

	"sluice/shared/lambdahttp"
	"sluice/tests/lambda/scenario"
)

func main() {
	lambdahttp.Start(scenario.NewHandler(), lambdahttp.Options{OnShutdown: func() { fmt.Println("shutdown hook ran") }})
}
