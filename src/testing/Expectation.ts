/**
 * What the model of a hub expects of one connection.
 *
 * @since 1.0.0
 */
import type { CloseBy, CloseReason } from "../core/CloseReason.js"
import type { Message } from "../core/Frame.js"

/**
 * Fails a run of the model: `law` is what was broken.
 *
 * @internal
 */
export const expect = (holds: boolean, law: string, details: () => string): void => {
  if (!holds) throw new Error(`${law}: ${details()}`)
}

/** @internal */
export const show = (message: Message): string =>
  typeof message === "string" ? message : `binary ${new TextDecoder().decode(message)}`

/**
 * A message on its way in or out. `certain`: nothing gave the hub leave to drop it.
 *
 * @internal
 */
export interface Item {
  readonly text: string
  readonly certain: boolean
}

/**
 * Checks that what came is what was due, in that order, without what could be dropped; and, where all of it must have
 * come, that nothing certain is missing.
 *
 * @internal
 */
export const checkSequence = (
  law: string,
  who: string,
  due: ReadonlyArray<Item>,
  came: ReadonlyArray<string>,
  complete: boolean
): void => {
  const details = (what: string) => () =>
    `${who}: ${what}; due [${due.map((item) => item.certain ? item.text : `${item.text}?`).join(", ")}], came [${
      came.join(", ")
    }]`
  let at = 0
  for (const text of came) {
    for (; due[at] !== undefined && due[at]?.text !== text; at++) {
      expect(due[at]?.certain !== true, law, details(`"${due[at]?.text}" is missing before "${text}"`))
    }
    expect(at < due.length, law, details(`"${text}" was not due`))
    at++
  }
  const missing = due.slice(at).find((item) => item.certain)
  expect(!complete || missing === undefined, law, details(`"${missing?.text}" is missing at the end`))
}

/**
 * One way a connection may have ended.
 *
 * @internal
 */
export interface End {
  readonly by: CloseBy
  readonly code?: number | undefined
}

const flushed = new Set<CloseBy>(["handler", "server", "rate-limit", "drain", "interrupt"])

/**
 * One connection as the model sees it. Its end is the first that was asked for: as long as two raced within a turn,
 * either may have been first.
 *
 * @internal
 */
export class Expectation {
  readonly topics = new Set<string>()
  readonly arrived: Array<Item> = []
  readonly handled: Array<string> = []
  greeted = false
  /** Sent before the greeting was out, by the handler and by others, and after. */
  readonly greeting: Array<Item> = []
  readonly held: Array<Item> = []
  readonly after: Array<Item> = []
  private ends: Array<End> = []
  /** An end that may not have happened after all. */
  private perhaps: Array<End> = []
  private decided = false
  endedAt: number | undefined = undefined

  /** Certainly open. */
  get isOpen(): boolean {
    return this.ends.length === 0 && this.perhaps.length === 0
  }

  /** Certainly ended. */
  get isEnded(): boolean {
    return this.decided
  }

  /** Whether every way in which it may have ended writes what was sent. */
  get isFlushed(): boolean {
    return [...this.ends, ...this.perhaps].every((end) => flushed.has(end.by))
  }

  /** Ends it now. */
  end(end: End, now: number): void {
    if (this.decided) return
    this.ends.push(...this.perhaps, end)
    this.decide(now)
  }

  /** Will end it before all is settled, unless something else does. */
  endSoon(end: End): void {
    if (!this.decided) this.ends.push(end)
  }

  /** May end it before all is settled. */
  mayEnd(end: End): void {
    if (!this.decided && !this.perhaps.some((other) => other.by === end.by)) this.perhaps.push(end)
  }

  /** The hub says whether it is open: everything that was under way has happened. */
  settle(open: boolean, now: number, who: string): void {
    expect(!open || this.ends.length === 0, "L4", () => `${who} is open, and should have ended: ${this.showEnds()}`)
    if (open) this.perhaps = []
    else if (!this.decided) {
      this.ends.push(...this.perhaps)
      expect(this.ends.length > 0, "L4", () => `${who} has ended, and nothing ended it`)
      this.decide(now)
    }
  }

  /** It was open until this ended it. */
  endedBy(end: End, now: number, who: string): void {
    expect(!this.decided, "L4", () => `${who} was ended twice: ${this.showEnds()} and ${end.by}`)
    this.ends = []
    this.perhaps = []
    this.end(end, now)
  }

  private decide(now: number): void {
    this.decided = true
    this.perhaps = []
    this.endedAt = now
    this.topics.clear()
  }

  /** The reason that the hub tells must be the first. */
  checkReason(reason: CloseReason, who: string): void {
    expect(
      this.ends.some((end) => end.by === reason.by && (end.code === undefined || end.code === reason.code)),
      "L4",
      () => `${who} closed by ${reason.by} with ${reason.code}, not ${this.showEnds()}`
    )
    this.ends = [reason]
  }

  /** Everything that was sent to it, in order. */
  get due(): ReadonlyArray<Item> {
    return this.greeted ? [...this.greeting, ...this.held, ...this.after] : this.greeting
  }

  private showEnds(): string {
    return this.ends.map((end) => end.code === undefined ? end.by : `${end.by} ${end.code}`).join(" or ")
  }
}
