// One text, with an image in the question where args.image has one.
import { args, read, report, run } from './ai.mjs';

report(async () => {
  const content = [{ type: 'text', text: args.question }];
  if (args.image) content.push({ type: 'image', image: args.image, mediaType: 'image/png' });
  return read(await run({ system: 'Be brief.', messages: [{ role: 'user', content }] }));
});
