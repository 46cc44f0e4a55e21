package clients_test

import (
	"context"
	"time"
)

// sdk is one major version of the Go SDK. The two have the same methods on different types, so the tests speak to both
// through this and each adapter does nothing but call its SDK.
type sdk interface {
	chat(o chatOptions) chat
	countTokens(ctx context.Context, text string) (int64, error)
	models(ctx context.Context, pageSize int64) (ids []string, err error)
	model(ctx context.Context, id string) (displayName string, err error)
	batchCreate(ctx context.Context, customIDs ...string) (id string, err error)
	batchStatus(ctx context.Context, id string) (string, error)
	batchResults(ctx context.Context, id string) (texts map[string]string, err error)
	batchDelete(ctx context.Context, id string) error
	fileUpload(ctx context.Context, name, content string) (id string, err error)
	files(ctx context.Context) (ids []string, err error)
	fileName(ctx context.Context, id string) (string, error)
	fileContent(ctx context.Context, id string) (string, error)
	fileDelete(ctx context.Context, id string) error

	// apiError takes an error of this SDK apart; false when it is none that an API answered.
	apiError(err error) (apiError, bool)
}

// chat is a conversation. Replies are appended to it by the SDK's own conversion.
type chat interface {
	say(text string)
	result(toolUse, text string)
	turn(ctx context.Context, stream bool) (reply, error)
}

type sdkOptions struct {
	key     string
	bearer  bool // Authorization: Bearer in place of x-api-key
	retries int
	header  map[string]string
}

type chatOptions struct {
	maxTokens int64 // 0: 1024
	system    []string
	tool      string // name of the one tool offered
	thinking  bool
	timeout   time.Duration
}

// reply is a message as an SDK understood it.
type reply struct {
	model, stop                 string
	kinds                       []string // of the content blocks
	text, thinking, signature   string
	redacted                    string
	toolID, toolName, toolInput string
	input, output               int64
	cacheRead, cacheWrite       int64
	events                      []string // of a stream, as the SDK gave them out
}

type apiError struct {
	status               int
	kind, requestID, raw string
}
