/**
 * How publications travel through Redis.
 *
 * A payload is a line of JSON with what comes beside the data, empty if there is nothing, and the data's JSON text. A
 * message is `p<offset>:<epoch>:<payload>`, or for several publications that follow one another
 * `b<offset of the first>:<epoch>:<length>,<length>…;<payload><payload>…`, or `j` or `l` and the JSON of who joined or
 * left. Without a stream, offset is 0 and epoch empty. Lengths are in UTF-16 units.
 *
 * @since 1.0.0
 */
import type { BrokerEvent, BrokerPublish } from "../channels/Broker.js"
import type { ClientInfo, Publication } from "../channels/Publication.js"

/** @internal */
export const encodePayload = ({ data, info, tags }: BrokerPublish): string =>
  info === undefined && tags === undefined ? `\n${data}` : `${JSON.stringify({ i: info, t: tags })}\n${data}`

interface Header {
  readonly i?: ClientInfo | undefined
  readonly t?: Readonly<Record<string, string>> | undefined
}

const noHeader: Header = {}

/**
 * Reads the payload that begins at `from`. What a node wrote is trusted.
 *
 * @internal
 */
export const decodePayload = (text: string, from: number, offset: number, to?: number): Publication<string> => {
  const end = text.indexOf("\n", from)
  if (end < 0) throw new Error("A payload without a header")
  const header: Header = end === from ? noHeader : JSON.parse(text.slice(from, end))
  return { data: text.slice(end + 1, to), info: header.i, offset, tags: header.t }
}

/**
 * The message for publications without a stream.
 *
 * @internal
 */
export const encodePassing = (payloads: ReadonlyArray<string>): string =>
  payloads.length === 1 ? `p0::${payloads[0]}` : `b0::${lengthsOf(payloads)};${payloads.join("")}`

/** @internal */
export const lengthsOf = (payloads: ReadonlyArray<string>): string => payloads.map(({ length }) => length).join(",")

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
  if (kind !== "p" && kind !== "b") throw new Error("A message of an unknown kind")
  const colon = message.indexOf(":")
  const second = message.indexOf(":", colon + 1)
  if (second < 0) throw new Error("A message without a position")
  const first = Number(message.slice(1, colon))
  const epoch = message.slice(colon + 1, second)
  if (kind === "p") {
    return tell({ _tag: "Published", channel, publication: decodePayload(message, second + 1, first), epoch })
  }
  const semicolon = message.indexOf(";", second + 1)
  if (semicolon < 0) throw new Error("A message without lengths")
  let offset = first
  let from = semicolon + 1
  for (const length of message.slice(second + 1, semicolon).split(",")) {
    const to = from + Number(length)
    tell({ _tag: "Published", channel, publication: decodePayload(message, from, offset, to), epoch })
    if (first > 0) offset++
    from = to
  }
}
