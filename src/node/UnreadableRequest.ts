/**
 * Requests that Node refuses before anyone sees them, as it cannot read them: they get a sentence too, and are counted. And
 * those that nobody can answer.
 *
 * @since 1.0.0
 */
import { type IncomingMessage, maxHeaderSize, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import * as HubMetrics from "../core/HubMetrics.js"
import * as HandshakeSocket from "./HandshakeSocket.js"

/** To an earlier request, or to this one if it is its body that is wrong. Node asks for the same, without telling. */
const responseOf = (socket: Duplex): ServerResponse | undefined =>
  "_httpMessage" in socket && socket._httpMessage instanceof ServerResponse ? socket._httpMessage : undefined

const answers = {
  tooLarge: [431, `The headers of the request are too large: ${maxHeaderSize} bytes at most.`],
  tooSlow: [408, "The request took too long to arrive. Send it at once."],
  wrong: [400, "This is not a well-formed HTTP request."]
} as const

const answerTo = (code: string | undefined) =>
  code === "HPE_HEADER_OVERFLOW"
    ? answers.tooLarge
    : code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? answers.tooSlow
    : answers.wrong

/**
 * Answers, unless an answer is on its way or the peer is gone, and lets go of the socket. A request whose headers were
 * read was no handshake, and is not counted as one.
 *
 * @internal
 */
export const refuse = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  const response = responseOf(socket)
  const answer = answerTo(error.code)
  if (socket.writable && response?.headersSent !== true) {
    const [status, message] = answer
    HandshakeSocket.answer(socket, { status, message, headers: { connection: "close" } })
    if (response === undefined) {
      HubMetrics.refusals(answer === answers.tooSlow ? "timeout" : "malformed").unsafeUpdate(1, [])
    }
  }
  socket.destroy()
}

/**
 * Destroys the socket of an upgrade that did not wait for the answer to an earlier request, and returns whether it did. Node
 * lets go of such a socket: both answers would be written to it at once, and nobody would ever end it.
 *
 * @internal
 */
export const cutOff = (request: IncomingMessage): boolean => {
  const response = responseOf(request.socket)
  if (response === undefined || response.req === request) return false
  HandshakeSocket.protect(request.socket)
  HubMetrics.refusals("malformed").unsafeUpdate(1, [])
  request.socket.destroy()
  return true
}
