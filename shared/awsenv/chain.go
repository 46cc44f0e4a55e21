//go:build !lambda.norpc

package awsenv

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Load returns the configuration of this machine. region overrides the one that is configured; empty: it does not.
func Load(ctx context.Context, region string) (aws.Config, error) {
	if region == "" {
		return config.LoadDefaultConfig(ctx)
	}
	return config.LoadDefaultConfig(ctx, config.WithRegion(region))
}
