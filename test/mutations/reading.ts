/** Mutations of how a connection's reader is handed its messages, and of what is remembered of the last publisher. */
import type { Mutation } from "./mutation.js"

const file = "test/core/reader.test.ts"

export const reading: ReadonlyArray<Mutation> = [
  {
    of: "reading",
    what: "the fiber wakes for each message",
    old: "if (reader === undefined || this.changed.isAwaited) return true",
    new: "if (reader === undefined || !this.changed.isAwaited) return true",
    file,
    test: "wakes no fiber for what is done at once"
  },
  {
    of: "reading",
    what: "who waits for one message waits behind a reader of all",
    old: "if (reader === undefined || this.changed.isAwaited) return true",
    new: "if (reader === undefined) return true",
    file,
    test: "leaves a message to who waits for one"
  },
  {
    of: "reading",
    what: "what came before the end that a message made is handled by an interrupted reader",
    old: "while (reader.isDone && this.ended === undefined) {",
    new: "while (reader.isDone) {",
    file,
    test: "handles no more once a message has closed the connection"
  },
  {
    of: "reading",
    what: "a reader that was interrupted is still handed messages",
    old: "if (this.reader === reader) this.reader = undefined",
    new: "",
    file,
    test: "that is interrupted while it waits leaves what comes to the next reader, though nobody waits yet"
  },
  {
    of: "reading",
    what: "what is left to do of a message is forgotten",
    old: "this.resume(left)",
    new: "this.resume(left === Effect.void ? left : Effect.void)",
    file,
    test: "handles in order what is done at once and what is not, for each way the peer may leave"
  },
  {
    of: "reading",
    what: "messages are handled while something is left of one before",
    old: "while (reader.isDone && this.ended === undefined) {",
    new: "while (this.ended === undefined) {",
    file,
    test: "handles what comes while it handles a message after that one"
  },
  {
    of: "reading",
    what: "what throws is thrown into the socket's event",
    old: "this.left = Effect.die(defect)",
    new: "throw defect",
    file,
    test: "ends the connection with 1011 if what handles a message throws, though no effect runs"
  },
  {
    of: "reading",
    what: "a message that ends the connection wakes its reader before it is handled",
    old: "if (reader === undefined || reader.isHandling) return\n    this.reader",
    new: "if (reader === undefined) return\n    this.reader",
    file,
    test: "does what is left of a message that closes the connection, and ends"
  },
  {
    of: "reading",
    what: "a reader is not woken by the end that its own message has made",
    old: "return !reader.isDone || this.ended !== undefined",
    new: "return !reader.isDone",
    file,
    test: "ends with a connection that is closed by a message of which nothing is left"
  },
  {
    of: "reading",
    what: "what comes while a message is handled is handled at once",
    old: "if (reader.isHandling) return false",
    new: "",
    file,
    test: "handles what comes while it handles a message after that one"
  },
  {
    of: "reading",
    what: "a second reader takes the place of the first that waits",
    old: "if (this.reader !== undefined || !this.isEmpty || this.ended !== undefined) return resume(this.ready)",
    new: "if (!this.isEmpty || this.ended !== undefined) return resume(this.ready)",
    file,
    test: "shares what comes with others that read"
  },
  {
    of: "channels",
    what: "a publisher is taken for the one before",
    old: "if (last === undefined || last.of !== of) last",
    new: "if (last === undefined) last",
    file: "test/channels/sdk.test.ts",
    test: "each publication has what its own publisher is said to be, whoever published before it"
  },
  {
    of: "channels",
    what: "what a client is said to be stays as it was when it changes",
    old: "if (said?.by === credentials && said.info.chanInfo === chanInfo) return said.info",
    new: "if (said?.info.chanInfo === chanInfo && said !== undefined) return said.info",
    file: "test/channels/sdk.test.ts",
    test: "each publication has what its own publisher is said to be, whoever published before it"
  }
]
