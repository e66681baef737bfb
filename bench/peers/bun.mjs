/**
 * Bun's own server and its native publish. Runs under `bun`, not Node.
 */
const server = Bun.serve({
  port: Number(process.argv[2]),
  hostname: "127.0.0.1",
  fetch(request, self) {
    const echo = new URL(request.url).pathname === "/echo"
    if (self.upgrade(request, { data: { echo } })) return
    return new Response(null, { status: 404 })
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      if (!socket.data.echo) socket.subscribe("all")
    },
    message(socket, text) {
      if (socket.data.echo) socket.send(text)
      else server.publish("all", text)
    }
  }
})

console.log("ready")
