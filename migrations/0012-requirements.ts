import type { Knex } from "knex";

// Fails a pipelined transaction when a condition that its statements rely on does not hold any more.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create function omc_require(is_so boolean, otherwise text) returns boolean language plpgsql as $$
    begin
      if is_so is not true then
        raise exception 'a requirement of this transaction does not hold' using errcode = otherwise;
      end if;
      return true;
    end $$`);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop function omc_require(boolean, text)");
}
