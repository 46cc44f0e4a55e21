//go:build lambda.norpc

package bedrock

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"sluice/shared/awsenv"
)

// providerOf finds the function's own role.
func providerOf(ctx context.Context, profile string) (aws.CredentialsProvider, error) {
	if profile != "" {
		return nil, errNoProfiles
	}
	cfg, err := awsenv.Load(ctx, "")
	return cfg.Credentials, err
}
