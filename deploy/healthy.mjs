// `node deploy/healthy.mjs PORT`: exits 0 when the process on that port says that it is ready.
const answer = await fetch(`http://127.0.0.1:${process.argv[2]}/readyz`, {
  signal: AbortSignal.timeout(4_000),
}).catch(() => undefined);
process.exitCode = answer?.ok ? 0 : 1;
