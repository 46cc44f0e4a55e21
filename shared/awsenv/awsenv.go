// Package awsenv finds the process's own AWS credentials and region. On a server that is the SDK's default chain: variables,
// profiles, web identity, containers, instances. A Lambda function, which is built with the tag lambda.norpc, has them in its
// environment and nowhere else: it links none of the chain, which would be an eighth of its size.
package awsenv
