# cmake --install: the program, libkerf with all that a program needs to embed
# it, units, configuration, man pages; the engine's libraries beside them. And
# the package: cpack, or ./dev package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(kerf_private ${CMAKE_INSTALL_LIBDIR}/kerf) # libraries of the engine
set(kerf_doc ${CMAKE_INSTALL_DATADIR}/doc/kerf)
set(packaging ${CMAKE_SOURCE_DIR}/packaging)

# ---- the library: what the folders' archives export of include/kerf ---------
set(roots base tensor codec model engine edge cloud legacy)
list(TRANSFORM roots PREPEND kerf_)
list(TRANSFORM roots REPLACE "(.+)" "$<TARGET_FILE:\\1>" OUTPUT_VARIABLE archives)
file(CONFIGURE OUTPUT libkerf.c CONTENT "typedef int kerf_none;\n")
add_library(kerf_shared SHARED ${CMAKE_BINARY_DIR}/libkerf.c)
target_link_libraries(kerf_shared PRIVATE
  -Wl,--whole-archive ${archives} -Wl,--no-whole-archive ${roots})
add_dependencies(kerf_shared ${roots})
set_target_properties(kerf_shared PROPERTIES
  OUTPUT_NAME kerf EXPORT_NAME kerf VERSION ${PROJECT_VERSION} SOVERSION 0
  LINK_DEPENDS "${archives}" INSTALL_RPATH "$ORIGIN/kerf"
  # Beside build/kerf it would be in the way.
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_include_directories(kerf_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
file(RELATIVE_PATH to_private /${CMAKE_INSTALL_BINDIR} /${kerf_private})
set_target_properties(kerf PROPERTIES INSTALL_RPATH "$ORIGIN/${to_private}")

install(TARGETS kerf RUNTIME)
install(TARGETS kerf_shared EXPORT KerfTargets LIBRARY
  NAMELINK_COMPONENT Unspecified)
install(DIRECTORY include/kerf TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(EXPORT KerfTargets NAMESPACE Kerf::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Kerf)
file(WRITE ${CMAKE_BINARY_DIR}/KerfConfig.cmake
  "include(\${CMAKE_CURRENT_LIST_DIR}/KerfTargets.cmake)\n")
write_basic_package_version_file(KerfConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/KerfConfig.cmake
  ${CMAKE_BINARY_DIR}/KerfConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Kerf)
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" to_prefix ${to_prefix})
configure_file(${packaging}/kerf.pc.in kerf.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/kerf.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ---- documents, the demo model, the shell -----------------------------------
file(GLOB pages ${CMAKE_SOURCE_DIR}/man/*.1)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES man/kerf.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES README.md CHANGELOG.md DESTINATION ${kerf_doc})
install(FILES ${packaging}/debian/copyright DESTINATION ${kerf_doc})
install(FILES docs/OPERATIONS.md docs/SECURITY.md docs/MODELS.md DESTINATION ${kerf_doc}/docs)
install(DIRECTORY examples DESTINATION ${kerf_doc})
install(DIRECTORY models/digits DESTINATION ${CMAKE_INSTALL_DATADIR}/kerf/models)
install(FILES ${packaging}/kerf.bash RENAME kerf
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# ---- what has the prefix in it, known when it is installed ------------------
install(CODE "set(from \"${packaging}\")
set(bindir \"${CMAKE_INSTALL_BINDIR}\")")
install(SCRIPT ${packaging}/install.cmake)

# ---- the engine: what of OpenVINO is used -----------------------------------
option(KERF_BUNDLE_ENGINE "Install OpenVINO's libraries with Kerf" ON)
if(KERF_OPENVINO AND KERF_BUNDLE_ENGINE)
  get_target_property(c_api openvino::runtime::c IMPORTED_LOCATION_RELEASE)
  get_filename_component(engine ${c_api} DIRECTORY)
  # By name, since plugins and frontends are opened by it. tbbbind is what
  # tells cores of several kinds apart; without it and hwloc they are one.
  file(GLOB libraries ${engine}/libopenvino.so.* ${engine}/libopenvino_c.so.*
    ${engine}/libopenvino_*_cpu_plugin.so ${engine}/libopenvino_ir_frontend.so.*
    ${engine}/libopenvino_onnx_frontend.so.*
    ${engine}/libopenvino_paddle_frontend.so.* ${engine}/libtbb.so.*
    ${engine}/libtbbbind_*.so.* ${engine}/libhwloc.so.*)
  install(FILES ${libraries} DESTINATION ${kerf_private})
  file(GLOB licenses ${engine}/../../openvino-*.dist-info/licenses)
  if(licenses)
    install(DIRECTORY ${licenses}/ DESTINATION ${kerf_doc}/openvino)
  endif()
endif()

# ---- the package ------------------------------------------------------------
set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME kerf)
set(CPACK_PACKAGE_VENDOR Kerf)
set(CPACK_PACKAGE_CONTACT "The Kerf authors <kerf@localhost.localdomain>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "one neural network, cut between an edge and a cloud")
set(CPACK_PACKAGE_DESCRIPTION "Kerf runs the head of a network next to the camera or the sensor and its tail
on a larger machine, ships heads to edges and shows what each stage costs.
It has the libraries of OpenVINO that it needs with it.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${engine} ${CMAKE_BINARY_DIR}/lib)
# Opened by name: nothing links to them.
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "gstreamer1.0-plugins-base, gstreamer1.0-plugins-good")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${packaging}/debian/conffiles
  ${packaging}/debian/postinst ${packaging}/debian/prerm
  ${packaging}/debian/postrm ${packaging}/debian/triggers)
set(CPACK_PRE_BUILD_SCRIPTS ${packaging}/debian/finish.cmake)
include(CPack)
