import { AppError } from "../../contract/errors.ts";

export type FairQueueOptions = {
  /** Places that are taken at once: by all together, and by one group. */
  atWork: number;
  atWorkOfGroup: number;
  /** How many may wait, and how long one may. */
  waiting: number;
  waitMs: number;
};

type Waiting = { enter: () => void; refuse: (why: string) => void; timer: NodeJS.Timeout };
type Group = { running: number; waiting: number; members: Map<string, Set<Waiting>> };

/**
 * Places that are given out by turns over the groups that wait, and inside a group by turns over its members: the many
 * requests of one group or member delay nobody else. When too many wait, the newest of the largest group is refused.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  /** In the order of their turns. Those that neither run nor wait have no entry. */
  readonly #groups = new Map<string, Group>();
  #running = 0;
  #waiting = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Resolves with a function that gives the place back, once.
   * @throws AppError `unavailable` when too many wait, or when the turn does not come in time.
   */
  async enter(groupName: string, member: string): Promise<() => void> {
    const group = this.#groups.get(groupName) ?? { running: 0, waiting: 0, members: new Map() };
    this.#groups.set(groupName, group);
    if (this.#isFree(group) && group.waiting === 0) this.#start(group);
    else await this.#wait(groupName, group, member);
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      group.running -= 1;
      this.#running -= 1;
      if (group.running + group.waiting === 0) this.#groups.delete(groupName);
      this.#startNext();
    };
  }

  #isFree({ running }: Group): boolean {
    return this.#running < this.#options.atWork && running < this.#options.atWorkOfGroup;
  }

  #start(group: Group): void {
    group.running += 1;
    this.#running += 1;
  }

  #wait(groupName: string, group: Group, member: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(waiting.timer);
        this.#remove(group, member, waiting);
        if (group.running + group.waiting === 0) this.#groups.delete(groupName);
      };
      const waiting: Waiting = {
        enter: () => {
          this.#start(group);
          leave();
          resolve();
        },
        refuse: (why) => {
          leave();
          reject(new AppError("unavailable", why));
        },
        timer: setTimeout(() => {
          waiting.refuse("The request waited too long.");
        }, this.#options.waitMs),
      };
      const others = group.members.get(member);
      if (others) others.add(waiting);
      else group.members.set(member, new Set([waiting]));
      group.waiting += 1;
      this.#waiting += 1;
      if (this.#waiting > this.#options.waiting) this.#refuseNewest();
    });
  }

  #remove(group: Group, member: string, waiting: Waiting): void {
    const waitings = group.members.get(member);
    if (!waitings?.delete(waiting)) return;
    if (waitings.size === 0) group.members.delete(member);
    group.waiting -= 1;
    this.#waiting -= 1;
  }

  #startNext(): void {
    while (this.#running < this.#options.atWork) {
      const next = this.#findNext();
      if (!next) return;
      next.enter();
    }
  }

  /** The oldest request of the member whose turn it is, in the group whose turn it is. Both go to the end. */
  #findNext(): Waiting | null {
    for (const [name, group] of this.#groups) {
      if (group.waiting === 0 || !this.#isFree(group)) continue;
      this.#groups.delete(name);
      this.#groups.set(name, group);
      for (const [member, waitings] of group.members) {
        group.members.delete(member);
        group.members.set(member, waitings);
        for (const waiting of waitings) return waiting;
      }
    }
    return null;
  }

  #refuseNewest(): void {
    const group = largest(this.#groups.values(), ({ waiting }) => waiting);
    const waitings = group && largest(group.members.values(), ({ size }) => size);
    [...(waitings ?? [])].at(-1)?.refuse("Too many requests wait.");
  }
}

function largest<T>(items: Iterable<T>, sizeOf: (item: T) => number): T | undefined {
  let found: T | undefined;
  for (const item of items) if (found === undefined || sizeOf(item) > sizeOf(found)) found = item;
  return found;
}
