// The AI SDK's tool loop.
import { ai, read, report, run } from './ai.mjs';

report(async () => {
  const inputs = [];
  const weather = ai.tool({
    description: 'Tells the weather.',
    inputSchema: ai.jsonSchema({
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    }),
    execute: async (input) => (inputs.push(input), '22 degrees in ' + input.city),
  });
  const result = await run({ prompt: 'How is the weather?', tools: { weather }, stopWhen: ai.stepCountIs(5) });
  return { ...read(result), inputs };
});
