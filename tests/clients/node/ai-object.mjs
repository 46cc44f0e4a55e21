// An answer of the form that args.schema has.
import { ai, args, read, report, run } from './ai.mjs';

report(async () => {
  const output = ai.Output.object({ schema: ai.jsonSchema(args.schema) });
  const result = await run({ prompt: 'Name a fruit.', output });
  return { ...read(result), object: result.output };
});
