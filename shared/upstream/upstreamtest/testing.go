package upstreamtest

import "testing"

// NewAnthropic is [StartAnthropic] for tests: it fails tb if it cannot start,
// and closes the fake when tb ends.
func NewAnthropic(tb testing.TB, opts ...Option) *Anthropic {
	tb.Helper()
	a, err := StartAnthropic(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(a.Close)
	return a
}

// NewOpenAI is [StartOpenAI] for tests: it fails tb if it cannot start, and
// closes the fake when tb ends.
func NewOpenAI(tb testing.TB, opts ...Option) *OpenAI {
	tb.Helper()
	o, err := StartOpenAI(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(o.Close)
	return o
}

// NewAmazonQ is [StartAmazonQ] for tests: it fails tb if it cannot start, and
// closes the fake when tb ends.
func NewAmazonQ(tb testing.TB, opts ...Option) *AmazonQ {
	tb.Helper()
	q, err := StartAmazonQ(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	return q
}

// NewBedrock is [StartBedrock] for tests: it fails tb if it cannot start, and
// closes the fake when tb ends.
func NewBedrock(tb testing.TB, opts ...Option) *Bedrock {
	tb.Helper()
	k, err := StartBedrock(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(k.Close)
	return k
}

// NewOIDC is [StartOIDC] for tests: it fails tb if it cannot start, and closes
// the fake when tb ends.
func NewOIDC(tb testing.TB, opts ...Option) *OIDC {
	tb.Helper()
	o, err := StartOIDC(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(o.Close)
	return o
}

// NewRefused is [Refused] for tests: a URL that refuses connections until tb
// ends.
func NewRefused(tb testing.TB) string {
	tb.Helper()
	url, release, err := Refused()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(release)
	return url
}
