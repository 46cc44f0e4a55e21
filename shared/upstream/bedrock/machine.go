//go:build !lambda.norpc

package bedrock

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"sluice/shared/awsenv"
)

// providerOf finds the machine's own identity, or that of one of its profiles.
func providerOf(ctx context.Context, profile string) (aws.CredentialsProvider, error) {
	if profile == "" {
		cfg, err := awsenv.Load(ctx, "")
		return cfg.Credentials, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(profile))
	return cfg.Credentials, err
}
