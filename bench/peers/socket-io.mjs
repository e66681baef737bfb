/**
 * Socket.IO over WebSocket alone. Its protocol stands on `/socket.io/`, so the two paths of the contract are two
 * events: "m" goes to the room that everyone is in, "e" back to its sender.
 */
import { createServer } from "node:http"
import { Server } from "socket.io"

const server = createServer((_request, response) => response.writeHead(404).end())
const io = new Server(server, { transports: ["websocket"], serveClient: false })

io.on("connection", (socket) => {
  socket.join("all")
  socket.on("m", (text) => io.to("all").emit("m", text))
  socket.on("e", (text) => socket.emit("e", text))
})

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"))
