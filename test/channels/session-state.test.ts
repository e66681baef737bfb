/** The states of a session: every state, and whatever may happen in it. */
import { assert, describe, it } from "@effect/vitest"
import { after, type Event, type State, takes } from "../../src/channels/SessionState.js"

const events = ["connect", "replied", "refused", "ended"] as const satisfies ReadonlyArray<Event>

const states: Readonly<Record<State, readonly [connect: State, replied: State, refused: State, ended: State]>> = {
  Waiting: ["Connecting", "Waiting", "Waiting", "Over"],
  Connecting: ["Connecting", "Connected", "Refused", "Over"],
  Connected: ["Connected", "Connected", "Connected", "Over"],
  Refused: ["Refused", "Refused", "Refused", "Over"],
  Over: ["Over", "Over", "Over", "Over"]
}

describe("a session", () => {
  for (const [state, expected] of Object.entries(states)) {
    it(`that is ${state}`, () => {
      assert.deepStrictEqual(events.map((event) => after(state as State, event)), [...expected])
      assert.strictEqual(takes(state as State, "connect"), state === "Waiting")
      for (const command of ["publish", "subscribe", "pong", "ping", "send"] as const) {
        assert.strictEqual(takes(state as State, command), state === "Connected", command)
      }
    })
  }
})
