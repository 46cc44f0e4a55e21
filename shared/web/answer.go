package web

import "context"

type answerKey struct{}

// WithAnswerLimit tells handlers that the client gets the answer in one piece and of at most that many bytes, as a JSON
// string and with its header: the host knows it, and long answers must be asked for in parts.
func WithAnswerLimit(ctx context.Context, bytes int64) context.Context {
	return context.WithValue(ctx, answerKey{}, bytes)
}

// AnswerLimit returns what WithAnswerLimit told; 0: the answer is streamed, as long as it may be.
func AnswerLimit(ctx context.Context) int64 {
	n, _ := ctx.Value(answerKey{}).(int64)
	return n
}
