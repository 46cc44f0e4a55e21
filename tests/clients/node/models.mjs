// Lists all models on pages of the given size, and gets one.
import { args, client, report } from './lib.mjs';

report(async () => {
  const ids = [];
  for await (const model of client.models.list({ limit: args.limit })) ids.push(model.id);
  return { ids, name: (await client.models.retrieve(args.id)).display_name };
});
