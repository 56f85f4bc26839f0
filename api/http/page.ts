import type { Handler } from "express";

/** A path with a handler of its own: one path that is read, or, with `isFolder`, a router of all that is below it. */
export type Page = { path: string; handler: Handler; isFolder?: boolean };

/** A router's options: a path in other letters, or with a slash behind it, is another path. */
export const EXACT_PATHS = { caseSensitive: true, strict: true } as const;
