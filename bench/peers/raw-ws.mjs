/**
 * The reference: the loop that most people write over `ws`.
 */
import { createServer } from "node:http"
import { WebSocketServer } from "ws"

const clients = new Set()
const server = createServer((_request, response) => response.writeHead(404).end())
const sockets = new WebSocketServer({ server, perMessageDeflate: false })

sockets.on("connection", (socket, request) => {
  socket.on("error", () => {})
  if (request.url === "/echo") {
    socket.on("message", (data) => socket.send(data.toString()))
    return
  }
  clients.add(socket)
  socket.on("close", () => clients.delete(socket))
  socket.on("message", (data) => {
    const text = data.toString()
    for (const client of clients) client.send(text)
  })
})

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"))
