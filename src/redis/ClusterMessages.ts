/**
 * What nodes send each other through Redis: requests to all, and answers to who asked. What is no such message is not for
 * this version, and is let pass.
 *
 * @since 1.0.0
 */

/** @internal */
export interface Request {
  /** By which the asker knows its answers. */
  readonly id: string
  /** Where the asker hears them. */
  readonly inbox: string
  readonly from: string
  readonly request: string
}

/**
 * An answer, or a part of a long one.
 *
 * @internal
 */
export interface Part {
  readonly id: string
  readonly from: string
  readonly isLast: boolean
  readonly text: string
}

/** Characters of a part. Redis cuts a listener off for whom 8 MB have waited for a minute, or 32 MB at all. */
const longest = 256 * 1024

const parse = (message: string): ReadonlyArray<unknown> => {
  try {
    const found: unknown = JSON.parse(message)
    return Array.isArray(found) ? found : []
  } catch {
    return []
  }
}

/** @internal */
export const encodeRequest = ({ from, id, inbox, request }: Request): string =>
  JSON.stringify([id, inbox, from, request])

/** @internal */
export const decodeRequest = (message: string): Request | undefined => {
  const [id, inbox, from, request] = parse(message)
  return typeof id === "string" && typeof inbox === "string" && typeof from === "string" && typeof request === "string"
    ? { id, inbox, from, request }
    : undefined
}

/** @internal */
export function* encodeAnswer(
  { answer, from, id }: { readonly id: string; readonly from: string; readonly answer: string }
): Generator<string> {
  for (let at = 0; at === 0 || at < answer.length; at += longest) {
    yield JSON.stringify([id, from, at + longest >= answer.length, answer.slice(at, at + longest)])
  }
}

/** @internal */
export const decodeAnswer = (message: string): Part | undefined => {
  const [id, from, isLast, text] = parse(message)
  return typeof id === "string" && typeof from === "string" && typeof isLast === "boolean" && typeof text === "string"
    ? { id, from, isLast, text }
    : undefined
}

/**
 * Puts the parts of answers together. Those of one node come in their order.
 *
 * @internal
 */
export class Parts {
  private readonly begun = new Map<string, string>()

  /** Returns the answer, once it is whole. */
  add({ from, isLast, text }: Part): string | undefined {
    const so = (this.begun.get(from) ?? "") + text
    if (!isLast) {
      this.begun.set(from, so)
      return undefined
    }
    this.begun.delete(from)
    return so
  }
}
