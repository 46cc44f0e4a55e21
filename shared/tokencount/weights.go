package tokencount

// What a piece counts that is not in the vocabulary, in 1/64 tokens.
const (
	symbolFirst = one * 60 / 100
	symbolNext  = one * 40 / 100
	wideMore    = one * 120 / 100
	emojiMore   = 2 * one
	restByte    = one * 35 / 100 // a byte of a word that has more parts than are looked for

	mostParts = 6
)
