"""An SSH server with SFTP and a shell, on this machine alone: python ssh_server.py FOLDER PORT

FOLDER has the server's key (host) and, in the file authorized, those of its users. It is asyncssh, which DVC's client
is made of, and so needs nothing that pip does not bring.
"""

import asyncio
import sys
from pathlib import Path

import asyncssh


async def _run(process: "asyncssh.SSHServerProcess[str]") -> None:
    """Run a command that the client asks for."""
    shell = await asyncio.create_subprocess_shell(
        process.command or "true", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await shell.communicate()
    process.stdout.write(output.decode())
    process.exit(shell.returncode or 0)


async def _serve(folder: Path, port: int) -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[folder / "host"],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=_run,
        sftp_factory=True,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
