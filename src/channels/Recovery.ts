/**
 * From where a subscription goes on: what a subscriber missed, and how that is joined with what came meanwhile.
 *
 * @since 1.0.0
 */
import type { History } from "./Broker.js"
import { areWithin } from "./ProtocolReply.js"
import type { Publication, StreamPosition } from "./Publication.js"

/**
 * One live publication of a channel.
 *
 * @internal
 */
export interface Live {
  readonly publication: Publication<string>
  readonly epoch: string
}

/**
 * Where a subscriber stands when its subscription begins, and what it gets of the past.
 *
 * @internal
 */
export interface Start {
  readonly position: StreamPosition
  readonly publications: ReadonlyArray<Publication<string>>
  readonly recovered: boolean
}

const sameStream = (asked: string, epoch: string): boolean => asked === "" || asked === epoch

/**
 * Recovers in stream mode: all that came after `since`, or nothing. The history holds what came after that offset.
 *
 * @internal
 */
export const stream = (since: StreamPosition, { position, publications }: History): Start => {
  const first = publications[0]
  const last = publications[publications.length - 1]
  const whole = first === undefined || last === undefined
    ? position.offset === since.offset
    : first.offset === since.offset + 1 && last.offset === position.offset
  return whole && sameStream(since.epoch, position.epoch)
    ? { position, publications, recovered: true }
    : { position, publications: [], recovered: false }
}

/**
 * Recovers in cache mode: the newest publication, unless the client has that. The history holds the newest.
 *
 * @internal
 */
export const cache = (since: StreamPosition, { position, publications }: History): Start => {
  const has = since.offset === position.offset && since.epoch === position.epoch
  const newest = publications[publications.length - 1]
  return newest?.offset === position.offset
    ? { position, publications: has ? [] : [newest], recovered: true }
    : { position, publications: [], recovered: has }
}

/**
 * The same, if the publications have so many bytes or fewer; else nothing, which is told. More would not be sent, and the
 * client would come back for it without end.
 *
 * @internal
 */
export const within = (bytes: number, start: Start): Start =>
  start.publications.length === 0 || areWithin(bytes, start.publications)
    ? start
    : { position: start.position, publications: [], recovered: false }

/**
 * Joins the start of a subscription with what came while it was made: each once, in order. `undefined`: something is
 * missing.
 *
 * @internal
 */
export const merge = (start: Start, live: ReadonlyArray<Live>): Start | undefined => {
  let { offset } = start.position
  const publications = [...start.publications]
  for (const { epoch, publication } of live) {
    if (publication.offset === 0) continue
    if (epoch !== start.position.epoch) return undefined
    if (publication.offset <= offset) continue
    if (publication.offset !== offset + 1) return undefined
    offset = publication.offset
    publications.push(publication)
  }
  return { ...start, position: { offset, epoch: start.position.epoch }, publications }
}
