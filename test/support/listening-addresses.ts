import { readFileSync } from "node:fs";

const LISTEN = "0A";
const LOOPBACK = new Set(["0100007F", "00000000000000000000000001000000"]);

/** Where programs of this machine listen on a port: `loopback`, or the address as the kernel writes it. */
export function listeningAddresses(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    readFileSync(table, "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, local = "", , state] = line.trim().split(/\s+/);
        const [address = "", localPort] = local.split(":");
        if (state !== LISTEN || localPort !== hex) return [];
        return LOOPBACK.has(address) ? ["loopback"] : [address];
      }),
  );
}
