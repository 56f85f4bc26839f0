/** People with display names; the direct room has two more users. */
export const PEOPLE = [
  { user: "ada", displayName: "Ada" },
  { user: "bob", displayName: "Bob" },
  { user: "cyd", displayName: "Cyd" },
  { user: "dee", displayName: "Dee" },
  { user: "eli", displayName: "Eli" },
  { user: "fay", displayName: "Fay" },
] as const;

export type Room = { key: string; path: string; name: string; members: { user: string; role: string }[] };

/** A group, an event and a direct room; `run` makes the names of one run differ from those of the next. */
export function createRooms(run: string): Room[] {
  return [
    {
      key: `group:chess-${run}`,
      path: `/v1/rooms/group/chess-${run}`,
      name: `Chess club ${run}`,
      members: [
        { user: "ada", role: "owner" },
        { user: "bob", role: "moderator" },
        { user: "cyd", role: "member" },
        { user: "dee", role: "member" },
        { user: "eli", role: "member" },
      ],
    },
    {
      key: `event:meetup-${run}`,
      path: `/v1/rooms/event/meetup-${run}`,
      name: `Python meetup ${run}`,
      members: [
        { user: "eli", role: "owner" },
        { user: "fay", role: "speaker" },
        { user: "ada", role: "member" },
        { user: "bob", role: "member" },
      ],
    },
    {
      key: `direct:cyd-${run}~fay-${run}`,
      path: "/v1/rooms/direct",
      name: "direct",
      members: [
        { user: `cyd-${run}`, role: "member" },
        { user: `fay-${run}`, role: "member" },
      ],
    },
  ];
}

const TEXTS = [
  "Who is in for tonight?",
  "Me. I bring the clock.",
  "Doors open at seven.",
  "Is there a train back at eleven?",
  "There is, platform 3.",
  "I saved you a seat.",
  "Can somebody bring a beamer?",
  "Done, it is in my bag.",
  "See you there 🎉",
  "Running five minutes late, start without me.",
];

/** The text of a message, by its index in the run. */
export function textOf(index: number): string {
  return `${TEXTS[index % TEXTS.length] ?? ""} (${String(index + 1)})`;
}
