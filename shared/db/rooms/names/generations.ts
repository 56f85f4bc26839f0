/*
 * SQL expressions of what tells apart the rooms that have had one address, one after the other. The parameters are expressions.
 */

type Address = { tenantId: string; kind: string; slug: string };

/** The generation of the next room at an address: that of a deleted or a renamed room is never used again. */
export function nextGeneration({ tenantId, kind, slug }: Address): string {
  const highest = (table: string) =>
    `(select max(x.generation) from ${table} x where x.tenant_id = ${tenantId} and x.kind = ${kind} and x.slug = ${slug})`;
  return `(1 + greatest(coalesce(${highest("rooms")}, 0), coalesce(${highest("former_slugs")}, 0)))`;
}

/**
 * The part of a new room's alias between `#` and `:`. It is stored with the room, which keeps it for ever; it reveals nothing of
 * the room.
 */
export function aliasLocalpart({
  tenantId,
  kind,
  slug,
  generation,
}: Address & { generation: string }): string {
  const identity = `'["' || ${tenantId} || '","' || ${kind} || '","' || ${slug} || '",' || ${generation} || ']'`;
  return `'omc_' || left(encode(sha256(convert_to(${identity}, 'UTF8')), 'hex'), 40)`;
}

/** The alias of an existing room. One that version 0.3 made has its first address still. */
export function aliasOf(room: string): string {
  const [tenantId, kind, slug, generation] = ["tenant_id", "kind", "slug", "generation"].map(
    (column) => `${room}.${column}`,
  ) as [string, string, string, string];
  return `coalesce(${room}.alias_localpart, ${aliasLocalpart({ tenantId, kind, slug, generation })})`;
}
