/** A byte of an IPv4 address, in decimal. */
const BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
/** The last label begins with a letter: else browsers read the name as a number. */
const NAME = "(?:[A-Za-z0-9_-]+\\.)*[A-Za-z][A-Za-z0-9_-]*\\.?";
const PORT = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})";
/**
 * What browsers would change, ignore or read as the end of the URL: spaces, controls, invisible characters and direction
 * marks, backslashes, and the other characters that no URL holds unescaped.
 */
const REFUSED = String.raw`\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"<>\\^\x60{|}`;

/** An absolute http or https URL that every browser reads in the same way. It is also a pattern of the OpenAPI document. */
export const webUrl = new RegExp(
  `^[Hh][Tt][Tt][Pp][Ss]?:\\/\\/(?:${IPV4}|${NAME})(?::${PORT})?(?:[/?#][^${REFUSED}]*)?$`,
);
