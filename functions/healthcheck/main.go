// Command healthcheck is the Lambda function of the scheduler's jobs. Its event is {"job":"probe"}, sweep, refresh,
// retention or notify.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"sluice/functions/internal/root"
	"sluice/shared/boot"
)

// version is set by the linker.
var version = ""

func main() {
	f := root.New(boot.Jobs(), version)
	lambda.Start(f.Job)
}
