/** Above so many members a room shows counts instead of people: no entry for each who joins, no receipts, few who type. */
export const BIG_ROOM_MEMBERS = 100;
