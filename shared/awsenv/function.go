//go:build lambda.norpc

package awsenv

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
)

var errNoCredentials = errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: the function has no execution role")

// Load returns the configuration that Lambda gives a function: its role's credentials, which hold for as long as the
// environment lives, and its region. region overrides that; empty: it does not.
func Load(_ context.Context, region string) (aws.Config, error) {
	if region == "" {
		region = os.Getenv("AWS_REGION")
	}
	c := aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"), Source: "the function's environment"}
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		if !c.HasKeys() {
			return aws.Credentials{}, errNoCredentials
		}
		return c, nil
	})
	return aws.Config{Region: region, Credentials: provider}, nil
}
