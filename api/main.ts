import { readProcessConfig } from "../shared/platform/process-config.ts";
import { createLog } from "../shared/platform/log.ts";
import { runProcess } from "../shared/platform/shutdown.ts";
import { openApi } from "./server.ts";

const STOP_LIMIT_MS = 15_000;

const config = readProcessConfig(process.env);
const log = createLog({ level: config.logLevel, tier: "api" });

await runProcess(log, STOP_LIMIT_MS, async (resources) => {
  const server = await openApi(config, log, resources);
  const address = server.address();
  log.info({ port: typeof address === "object" ? address?.port : undefined }, "api is listening");
});
