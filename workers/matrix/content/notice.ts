import type { ContentOf } from "../../../shared/contract/content/index.ts";
import { MsgType } from "../names.ts";
import type { MatrixContent } from "./define.ts";
import { messageOnMatrix } from "./message.ts";
import { readRelations } from "./read/relations.ts";
import { describeUnsupported, UNSUPPORTED_EVENT_TYPES } from "./unsupported.ts";
import { hideMatrixIds } from "./read/matrix-ids.ts";
import { toSafeText } from "./read/safe-text.ts";

const notice = messageOnMatrix("notice", MsgType.Notice);

/** Notices, and what people write on Matrix that we do not have: a notice says what it is. */
export const noticeOnMatrix: MatrixContent<ContentOf<"notice">> = {
  ...notice,
  eventTypes: [...notice.eventTypes, ...UNSUPPORTED_EVENT_TYPES],
  fromMatrix: (event, people) => {
    const received = notice.fromMatrix(event, people);
    if (received !== null) return received;
    const description = describeUnsupported(event);
    if (description === null) return null;
    const text = hideMatrixIds(toSafeText(description), event, people);
    return { content: { kind: "notice", text }, ...readRelations(event) };
  },
};
