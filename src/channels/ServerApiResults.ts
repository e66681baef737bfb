/**
 * Results of the server API, as they stand in JSON.
 *
 * @since 1.0.0
 */
import * as Option from "effect/Option"
import type { Answered } from "./Channels.js"
import type { ProtocolError } from "./ProtocolCode.js"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"

/** @internal */
export const published = (position: Option.Option<StreamPosition>) =>
  Option.match(position, { onNone: () => ({}), onSome: ({ epoch, offset }) => ({ offset, epoch }) })

/** @internal */
export const errorObject = (error: ProtocolError) => ({ code: error.code, message: error.reason })

/**
 * Fields that are zero are left out, as everywhere in the protocol.
 *
 * @internal
 */
export const clientInfo = ({ chanInfo, client, connInfo, user }: ClientInfo) => ({
  user,
  client,
  ...(connInfo === undefined ? {} : { conn_info: connInfo }),
  ...(chanInfo === undefined ? {} : { chan_info: chanInfo })
})

/** @internal */
export const publication = ({ data, info, offset, tags }: Publication) => ({
  data,
  ...(info === undefined ? {} : { info: clientInfo(info) }),
  ...(offset === 0 ? {} : { offset }),
  ...(tags === undefined ? {} : { tags })
})

/**
 * Own properties, whatever the keys: an assignment to `__proto__` would not make one.
 *
 * @internal
 */
export const object = <A, B>(entries: ReadonlyMap<string, A>, f: (value: A) => B): Readonly<Record<string, B>> =>
  Object.fromEntries(Array.from(entries, ([key, value]) => [key, f(value)]))

/**
 * Said only where there is something to say.
 *
 * @internal
 */
export const lacking = ({ missing }: Answered) => missing.length === 0 ? {} : { missing }
