// Counts tokens.
import { args, client, report } from './lib.mjs';

report(async () => ({ tokens: (await client.messages.countTokens(args.params)).input_tokens }));
