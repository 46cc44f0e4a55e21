// The same question over and over, streamed or whole as args.streams has it: what came of each.
import { args, report, run } from './ai.mjs';

report(async () => {
  const ends = [];
  for (args.stream of args.streams) {
    try {
      ends.push({ text: (await run({ prompt: 'Hello' })).text });
    } catch (e) {
      ends.push({ name: e.name, status: e.statusCode ?? 0, message: e.message });
    }
  }
  return { ends };
});
