import type { Response } from "express";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  readHomeserverStatuses,
  type SeenHomeserver,
} from "../../shared/db/homeservers/homeserver-states.ts";
import {
  countWaitingMessages,
  findOldestWaiting,
  type OldestWaiting,
} from "../../shared/db/messages/waiting-messages.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";
import type { Problem, ProblemWatch } from "../../shared/platform/problems/problems.ts";
import { waitingReason } from "../status/waiting-reason.ts";

const RELOAD_EVERY_S = 10;

/** What the first page shows. */
type Status = {
  at: Date;
  problems: readonly Problem[];
  waiting: { messages: number; oldest: OldestWaiting | null };
  homeservers: readonly SeenHomeserver[];
};

/** Reads what the first page shows. @throws when Postgres does not answer. */
export async function readStatus(db: Db, problems: Pick<ProblemWatch, "read">): Promise<Status> {
  const [messages, oldest, homeservers, standing] = await Promise.all([
    countWaitingMessages(db),
    findOldestWaiting(db),
    readHomeserverStatuses(db),
    problems.read(),
  ]);
  return { at: new Date(), problems: standing, waiting: { messages, oldest }, homeservers };
}

/** Sends the first page of the operators: what is wrong, what waits and why, and how the homeservers are. */
export function sendStatusPage(response: Response, status: Status, queuesPath: string): void {
  response
    .set(
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    )
    .set("Cache-Control", "no-store")
    .type("html")
    .send(statusPage(status, queuesPath));
}

function statusPage(status: Status, queuesPath: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="${String(RELOAD_EVERY_S)}">
<title>OpenMeet Chat: status</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>OpenMeet Chat</h1>
<nav><a href="${escape(queuesPath)}">Queues</a><form method="post" action="/admin/logout"><button>Log out</button></form></nav>
</header>
<main>
${problemsSection(status.problems)}
${waitingSection(status)}
${homeserversSection(status)}
</main>
<footer>As of ${time(status.at)}. This page reloads every ${String(RELOAD_EVERY_S)} s.</footer>
</body>
</html>
`;
}

const STYLE = `
:root{color-scheme:light dark;--text:#1b1f24;--quiet:#57606a;--line:#d0d7de;--back:#fff;--bad:#a40e26;--badback:#ffebe9;--warn:#7a4b00;--warnback:#fff4d5;--good:#116329;--goodback:#e3f6e8;--link:#0550ae}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--quiet:#9da7b3;--line:#30363d;--back:#0d1117;--bad:#ffa198;--badback:#3b1219;--warn:#f2cc60;--warnback:#33270a;--good:#7ee787;--goodback:#12261a;--link:#79c0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:48rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);overflow-wrap:anywhere}
header,nav,.row{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;justify-content:space-between}
h1{font-size:1.25rem;margin:0}h2{font-size:1rem;margin:1.5rem 0 .5rem}p{margin:.25rem 0}form{margin:0}
a{color:var(--link)}button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:.4rem;padding:.3rem .7rem;min-height:2.2rem}
a:focus-visible,button:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.box{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;margin:.5rem 0}
.critical{background:var(--badback);border-color:var(--bad)}.critical b{color:var(--bad)}
.warning{background:var(--warnback);border-color:var(--warn)}.warning b{color:var(--warn)}
.good{background:var(--goodback);border-color:var(--good)}.good b{color:var(--good)}
.quiet,footer{color:var(--quiet);font-size:.875rem}.count{font-size:1.75rem;font-weight:600;line-height:1.2}footer{margin-top:2rem}
code{font-size:.875em}`;

function problemsSection(problems: readonly Problem[]): string {
  if (problems.length === 0) return `<p class="box good" role="status"><b>No problem is known.</b></p>`;
  const items = problems.map(
    ({ code, severity, detail, since }) =>
      `<div class="box ${severity}"><b>${escape(detail)}</b><p class="quiet"><code>${code}</code> since ${time(new Date(since))}</p></div>`,
  );
  return `<section aria-label="Problems" role="status">${items.join("\n")}</section>`;
}

function waitingSection({ waiting: { messages, oldest }, homeservers, problems }: Status): string {
  const count = `<p><span class="count">${String(messages)}</span> ${messages === 1 ? "message waits" : "messages wait"} to be sent</p>`;
  const title = "<h2>Waiting messages</h2>";
  if (oldest === null) return `${title}<div class="box">${count}</div>`;
  const homeserver = homeservers.find(({ name }) => name === oldest.homeserver) ?? null;
  const ofRedis = problems.filter(({ code }) => code.startsWith("redis_"));
  return `${title}<div class="box">${count}
<p>The oldest waits for <b>${escape(formatAge(oldest.ageMs))}</b>, in <code>${escape(formatRoomKey(oldest))}</code> of tenant <code>${escape(oldest.tenant)}</code>.</p>
<p>${escape(waitingReason(oldest, homeserver, ofRedis))}</p>
<p class="quiet">Message <code>${escape(oldest.id)}</code></p></div>`;
}

const STATES = {
  up: { words: "up", look: "good" },
  down: { words: "down", look: "critical" },
  refusing: { words: "refuses our credential", look: "critical" },
  limiting: { words: "limits us", look: "warning" },
} as const;

function homeserversSection({ homeservers }: Status): string {
  const title = `<h2>${homeservers.length > 1 ? "Homeservers" : "Homeserver"}</h2>`;
  if (homeservers.length === 0) {
    return `${title}<div class="box critical"><b>Not known.</b><p>No worker has reported for 15 s: are jobs and sync running?</p></div>`;
  }
  const items = homeservers.map(({ name, state, since, detail }) => {
    const { words, look } = STATES[state];
    const more = detail === null ? "" : `<p>${escape(detail)}</p>`;
    return `<div class="box ${look}"><div class="row"><code>${escape(name)}</code><b>${words}</b></div>${more}<p class="quiet">since ${time(since)}</p></div>`;
  });
  return title + items.join("\n");
}

function time(date: Date): string {
  const text = date.toISOString();
  return `<time datetime="${text}">${text.slice(0, 19).replace("T", " ")} UTC</time>`;
}

/** An age in its two largest units. */
function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const units = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ] as const;
  const first = Math.max(
    0,
    units.findIndex(([, size]) => seconds >= size),
  );
  if (seconds < 1) return "less than a second";
  return units
    .slice(first, first + 2)
    .map(([unit, size], index) => {
      const rest = index === 0 ? seconds : seconds % (units[first]?.[1] ?? 1);
      return `${String(Math.floor(rest / size))} ${unit}`;
    })
    .join(" ");
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${String(sign.charCodeAt(0))};`);
}
