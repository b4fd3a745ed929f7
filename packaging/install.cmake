# Run by cmake --install: files that say where they are. from, made and bindir
# are set by KerfInstall.cmake.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(KERF_ETC /etc)
else()
  set(KERF_ETC "${CMAKE_INSTALL_PREFIX}/etc")
endif()
set(KERF_BIN "${CMAKE_INSTALL_PREFIX}/${bindir}")
foreach(unit kerf-cloud kerf-edge)
  configure_file("${from}/systemd/${unit}.service.in" "${made}/${unit}.service" @ONLY)
  file(INSTALL "${made}/${unit}.service"
    DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")
endforeach()
# One that somebody has changed stays.
foreach(name cloud edge)
  if(NOT EXISTS "$ENV{DESTDIR}${KERF_ETC}/kerf/${name}.conf")
    file(INSTALL "${from}/conf/${name}.conf" DESTINATION "${KERF_ETC}/kerf")
  endif()
endforeach()
