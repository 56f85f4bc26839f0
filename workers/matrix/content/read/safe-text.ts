/** Matrix allows characters that Postgres and browsers refuse: NUL, and half of a surrogate pair. */
export function toSafeText(body: string): string {
  return body.toWellFormed().replaceAll("\0", "");
}
