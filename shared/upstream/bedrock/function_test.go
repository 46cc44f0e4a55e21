//go:build lambda.norpc

package bedrock_test

const hasProfiles = false
