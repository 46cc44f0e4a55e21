package bedrock

import (
	"cmp"
	"context"
	"net/http"
)

// TierHeader is where InvokeModel's requests and answers name the service tier, on which the price depends. Source: aws-sdk-go-v2
// service/bedrockruntime, InvokeModelInput.ServiceTier and InvokeModelOutput.ServiceTier.
const TierHeader = "X-Amzn-Bedrock-Service-Tier"

type tierKey struct{}

// OnTier returns a context in which Send tells of each answer the tier that served it: as the answer names it or, where it names
// none, as it was asked for; empty: neither. Converse's answers name theirs in the body.
func OnTier(ctx context.Context, told func(tier string)) context.Context {
	return context.WithValue(ctx, tierKey{}, told)
}

func tellTier(ctx context.Context, asked, answered http.Header) {
	if told, ok := ctx.Value(tierKey{}).(func(string)); ok {
		told(cmp.Or(answered.Get(TierHeader), asked.Get(TierHeader)))
	}
}
