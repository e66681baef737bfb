/**
 * How publications travel through Redis.
 *
 * A payload is a line of JSON with what comes beside the data, empty if there is nothing, and the data's JSON text. A
 * message is `p<offset>:<epoch>:` and the payloads of publications that follow one another, with `separator` between
 * them; or `j` or `l` and the JSON of who joined or left. Without a stream, offset is 0 and epoch empty.
 *
 * @since 1.0.0
 */
import type { BrokerEvent, BrokerPublish } from "../channels/Broker.js"
import type { ClientInfo, Publication } from "../channels/Publication.js"
import { remembered } from "../channels/Remembered.js"

/**
 * Between payloads: JSON never has it as it is.
 *
 * @internal
 */
export const separator = "\u001e"

interface Header {
  readonly i?: ClientInfo | undefined
  readonly t?: Readonly<Record<string, string>> | undefined
}

/** Of publications without tags. */
const headerOf = remembered((info: ClientInfo | undefined): string =>
  info === undefined ? "" : JSON.stringify({ i: info })
)

/** @internal */
export const encodePayload = ({ data, info, tags }: BrokerPublish): string =>
  `${tags === undefined ? headerOf(info) : JSON.stringify({ i: info, t: tags })}\n${data}`

const header = remembered((text: string): Header => text === "" ? {} : JSON.parse(text))

/**
 * Reads the payload that begins at `from`. What a node wrote is trusted.
 *
 * @internal
 */
export const decodePayload = (text: string, from: number, offset: number, to?: number): Publication<string> => {
  const end = text.indexOf("\n", from)
  if (end < 0) throw new Error("A payload without a header")
  const { i, t } = header(text.slice(from, end))
  return { data: text.slice(end + 1, to), info: i, offset, tags: t }
}

/**
 * The message for publications without a stream.
 *
 * @internal
 */
export const encodePassing = (payloads: string): string => `p0::${payloads}`

/** @internal */
export const encodePresence = (kind: "j" | "l", info: ClientInfo): string => kind + JSON.stringify(info)

/**
 * Reads a message, and tells of what is in it. Throws if it is none.
 *
 * @internal
 */
export const decodeMessage = (channel: string, message: string, tell: (event: BrokerEvent) => void): void => {
  const kind = message[0]
  if (kind === "j" || kind === "l") {
    return tell({ _tag: kind === "j" ? "Joined" : "Left", channel, info: JSON.parse(message.slice(1)) as ClientInfo })
  }
  if (kind !== "p") throw new Error("A message of an unknown kind")
  const colon = message.indexOf(":")
  const second = message.indexOf(":", colon + 1)
  if (second < 0) throw new Error("A message without a position")
  const epoch = message.slice(colon + 1, second)
  let offset = Number(message.slice(1, colon))
  let from = second + 1
  while (from > 0) {
    const to = message.indexOf(separator, from)
    const publication = decodePayload(message, from, offset, to < 0 ? undefined : to)
    tell({ _tag: "Published", channel, publication, epoch })
    if (offset > 0) offset++
    from = to + 1
  }
}
