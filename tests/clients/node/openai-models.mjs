// Lists all models and gets one.
import { args, client, report } from './openai.mjs';

report(async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return { ids, id: (await client.models.retrieve(args.id)).id };
});
